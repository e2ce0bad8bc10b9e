"""Other people's trained policies: read without running their code, rolled out, written down."""
