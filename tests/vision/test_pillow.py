from __future__ import annotations

import subprocess
import sys
import textwrap


def run(script):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120)


def test_pillow_is_imported_only_when_it_is_needed():
    result = run(
        """
        import sys
        import flambeau.vision
        from flambeau.vision import transforms
        transforms.CenterCrop(2)(flambeau.zeros(3, 4, 4))
        print("PIL" in sys.modules)
        """
    )
    assert (result.stdout, result.stderr) == ("False\n", "")


def test_without_pillow_the_error_names_the_extra():
    result = run(
        """
        import sys
        sys.modules["PIL"] = None
        import flambeau
        from flambeau.vision import transforms
        try:
            transforms.ToPILImage()(flambeau.zeros(3, 4, 4))
        except ImportError as error:
            print(error)
        """
    )
    assert result.stdout == 'images other than tensors need Pillow: pip install "flambeau[vision]"\n', result.stderr
