"""What the face does: the feed-forward pass, landmark correction, refinement."""
