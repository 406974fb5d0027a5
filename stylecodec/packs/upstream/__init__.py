"""Everything about foreign files: opened as data, recognised by content, converted (README.md beside this file)."""
