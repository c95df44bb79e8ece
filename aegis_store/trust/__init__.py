"""Who signed what, and how others check it: signers, the key directory, notes and tree heads, proofs."""
