"""What a record says: the 176-byte entry, and the versioned envelopes that payloads hold. FORMAT.md is normative."""
