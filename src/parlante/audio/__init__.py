"""Audio in, features out: reading recordings, log-mels, prosody, the phonetic encoder."""
