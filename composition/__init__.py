"""Several retrieved policies become one, without the environment."""
