"""Who we are measured against, each as somebody who knows it well would set it up."""
