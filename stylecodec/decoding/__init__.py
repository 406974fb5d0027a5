"""From streams to pictures: latents, rendering, random access, live feeds, known people. No faces are looked for, no
videos read or written, and nothing of encoding is needed."""
