"""Model packs: a folder of safetensors files and a `pack.toml` card, found, verified and loaded."""
