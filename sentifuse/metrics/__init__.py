"""Scores, their intervals, paired tests and calibration."""
