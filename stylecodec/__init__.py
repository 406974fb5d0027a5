"""stylecodec: a talking-head video codec in the latent space of StyleGAN2."""
