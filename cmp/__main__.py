"""python -m cmp: see script.py. Nothing else may stand here, since these globals become the program's."""

__all__ = ()

if __name__ == "__main__":
    from cmp.script import main

    main()
