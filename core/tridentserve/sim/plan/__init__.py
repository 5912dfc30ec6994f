"""Which placement a pipeline should have on so many GPUs, told beforehand."""
