"""Files to tokens and back: what seqvae knows of music and text, without torch."""
