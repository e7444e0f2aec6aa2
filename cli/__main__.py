"""Where the `seqvae` command begins: who interrupts it while it is being loaded is answered as later."""

import sys

INTERRUPTED = 130  # as in `console`, which is still to be loaded


def main() -> None:
    """Entry point of the `seqvae` command, and of `python -m cli`."""
    try:
        from cli.main import main as command

        command()
    except KeyboardInterrupt:
        print("seqvae: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
