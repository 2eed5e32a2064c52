"""What a trained model is worth: baselines, ablation, attribution, plots and the report."""
