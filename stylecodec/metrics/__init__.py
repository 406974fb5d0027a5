"""What pictures and faces are judged by, each figure defined once."""
