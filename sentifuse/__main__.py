"""`python -m sentifuse COMMAND`: see `sentifuse.cli.main`."""

from sentifuse.cli.main import command

if __name__ == "__main__":
    command()
