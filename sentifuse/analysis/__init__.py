"""What the experiments of a repository have in common: ranking, groups, correlations, table and figure."""
