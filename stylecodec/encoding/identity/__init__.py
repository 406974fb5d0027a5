"""Who is seen: the frames that show it (Eq. 1 of 2203.14512), the latent fitted to them, identity cards."""
