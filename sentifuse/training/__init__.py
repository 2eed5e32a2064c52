"""Losses, rates, the loop over epochs, resuming, and the two stages."""
