#!/usr/bin/env python3
"""The rules about dependencies, shown what they must refuse.

First as plain data, each rule by itself; then once with cargo, in a scratch workspace that has a
crate of a forbidden licence from a git repository: what cargo says must be what the rules read.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))

import house  # noqa: E402

RULES = tomllib.loads((HERE.parent / "deny.toml").read_text())
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def package(**other):
    usual = {"name": "theirs", "version": "1.0.0", "license": "MIT OR Apache-2.0",
             "source": REGISTRY, "dependencies": []}
    return {**usual, **other}


def refusals(*packages):
    built = {each["name"] for each in packages if each["name"] != "never-built"}
    return [what for _, what in house.refused(packages, built, RULES)]


class Rules(unittest.TestCase):
    def test_what_is_usual_passes(self):
        self.assertEqual(refusals(package(), package(license="(MIT OR GPL-3.0) AND Zlib")), [])
        self.assertEqual(refusals(package(license="MIT/Apache-2.0")), [])

    def test_a_forbidden_licence_is_refused(self):
        for licence in ["GPL-3.0", "MIT AND GPL-3.0", "(GPL-3.0 OR AGPL-3.0) AND MIT", None]:
            self.assertEqual(refusals(package(license=licence)), [f"licence {licence}"])

    def test_a_crate_that_was_turned_away_is_refused(self):
        for name in ["ring", "openssl-sys"]:
            self.assertEqual(refusals(package(name=name)), ["was turned away in deny.toml"])

    def test_another_source_than_the_registry_is_refused(self):
        for source in ["git+https://example.org/theirs#0", "registry+https://example.org/index"]:
            self.assertEqual(refusals(package(source=source)), [f"comes from {source}"])

    def test_any_version_is_refused_but_of_what_lies_beside_us(self):
        wanted = [{"name": "theirs", "req": "*"}, {"name": "ours", "req": "*", "path": "/ours"}]
        own = package(name="holdfast-own", source=None, dependencies=wanted)
        self.assertEqual(refusals(own), ["asks for any version of theirs"])

    def test_what_is_never_built_is_nobodys_business(self):
        never = package(name="never-built", license="GPL-3.0")
        self.assertEqual(refusals(package(), never), [])


class Scratch(unittest.TestCase):
    def test_a_real_crate_of_a_forbidden_licence_and_source_is_refused(self):
        with tempfile.TemporaryDirectory() as scratch:
            root = pathlib.Path(scratch)
            theirs = crate(root / "theirs", "theirs", 'license = "GPL-3.0"\n')
            # With a name of its own: git asks for one, and reads nothing of whoever runs this.
            git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]
            for step in [["init", "-q"], ["add", "."], ["commit", "-q", "-m", "theirs"]]:
                subprocess.run([*git, *step], cwd=theirs, check=True)
            dependency = f'[dependencies]\ntheirs = {{ version = "1", git = "file://{theirs}" }}\n[workspace]\n'
            ours = crate(root / "ours", "ours", 'license = "MIT"\n' + dependency)
            shutil.copy(HERE.parent / "deny.toml", ours)
            subprocess.run(["cargo", "generate-lockfile", "--quiet"], cwd=ours, check=True)
            found = self.refused_in(ours)
            self.assertEqual(len(found), 2, found)
            self.assertEqual(found[0], "theirs 1.0.0: licence GPL-3.0")
            self.assertRegex(found[1], "theirs 1.0.0: comes from git.file://")

    def refused_in(self, root):
        before = house.ROOT, house.breaks
        house.ROOT, house.breaks = root, []
        try:
            house.check_dependencies(house.metadata())
            return house.breaks
        finally:
            house.ROOT, house.breaks = before


def crate(path, name, more):
    (path / "src").mkdir(parents=True)
    (path / "src/lib.rs").write_text("")
    manifest = f'[package]\nname = "{name}"\nversion = "1.0.0"\nedition = "2024"\n{more}'
    (path / "Cargo.toml").write_text(manifest)
    return path


if __name__ == "__main__":
    unittest.main()
