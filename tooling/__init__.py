"""What benchmarks, experiments and continuous integration share."""
