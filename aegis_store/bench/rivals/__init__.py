"""Who we are measured against, each as somebody who knows it well would set it up.

Every one of them is imported when it is asked for, and may be missing.
"""
