"""What a library is on disk: paths, manifest, checksums, plain pickles, errors, script manners."""
