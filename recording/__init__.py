"""Other people's trained policies: found, read without running their code, rolled out."""
