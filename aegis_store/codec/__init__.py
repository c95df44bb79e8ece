"""From values to stored bytes and back: canonical envelopes, compression, payloads. Pure: no file, no clock, no randomness."""
