"""What the encoders make of the samples: encoded once, kept, assembled and read in batches."""
