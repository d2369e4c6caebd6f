"""The rules of the house that no linter knows: arrows between crates, sizes, stories, words.

Reads only; prints every break as `file:line: what` and exits 1 if there was one.
"""

import json
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Which crates of ours each crate may depend on (tests aside). See docs/decisions/0003-arrows.md.
ARROWS = {
    "common": set(),
    "runtime": {"common"},
    "wire": {"common"},
    "keyring": {"common"},
    "kek": {"common", "keyring"},
    "seal": {"common", "keyring"},
    "repository": {"common"},
    "storage": {"common"},
    "ledger": {"common"},
    "testkit-servers": set(),
    "mount": {"common", "keyring", "seal"},
    "agent": {"common", "runtime", "wire", "keyring", "seal", "repository"},
    "coordinator": {"common", "runtime", "wire", "keyring", "kek", "repository", "storage", "ledger"},
    "cli": {"common", "runtime", "wire", "keyring", "kek", "seal", "repository", "storage", "ledger",
            "agent", "coordinator", "mount"},
    "bench": {"common", "runtime", "keyring", "ledger", "testkit-servers"},
    "fuzz": {"common", "runtime", "wire", "keyring", "kek", "seal", "repository", "storage", "ledger",
             "agent", "coordinator"},
    "integration": {"common", "runtime", "wire", "keyring", "kek", "seal", "repository", "storage",
                    "ledger", "agent", "coordinator", "cli", "mount"},
}
# Crates of others that must not be reachable from ours, through any edge that ships.
UNREACHABLE = {
    "common": {"tokio", "rustls", "tonic"},
    "keyring": {"tokio", "tonic"},
    "ledger": {"tokio", "tonic", "openraft", "sled"},
    "seal": {"tokio", "tonic"},
    "repository": {"tokio", "tonic"},
    "agent": {"openraft", "sled"},
    "mount": {"tokio", "tonic"},
    "cli": {"ring", "openssl-sys", "native-tls"},
}
FILE_LINES_MAX = 600
MAIN_LINES_MAX = 150
LINE_MAX = 100
TABLES = {"codes.rs"}  # a row is a line, however long
UNSAFE_MAX = 2  # mapped index files; the allocator's settings
FORBIDDEN_MODULES = {"util", "utils", "helper", "helpers", "misc", "manager", "common"}
SOFT_WORDS = re.compile(r"\btodo!\(|\bunimplemented!\(|\bFIXME\b|\bXXX\b|not (yet )?implemented")

breaks = []


def report(where, what):
    breaks.append(f"{where}: {what}")


def metadata():
    out = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu", "--locked", "--offline"],
        cwd=ROOT, capture_output=True, text=True)
    if out.returncode != 0:
        out = subprocess.run(["cargo", "metadata", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu", "--locked"],
                             cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(out.stdout)


def tree(*arguments):
    """Names of the packages that are really built. `cargo metadata` also lists crates that only a
    weak feature names."""
    out = subprocess.run(
        ["cargo", "tree", "--locked", "--prefix", "none", "--no-dedupe", "-f", "{p}", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=True)
    return {line.split()[0] for line in out.stdout.splitlines() if line.strip()}


def is_allowed(expression, allowed):
    """An SPDX expression: every part joined by AND needs one allowed part joined by OR."""
    expression = expression.replace("/", " OR ")
    if "(" in expression:
        inner = re.search(r"\(([^()]*)\)", expression)
        word = "MIT" if is_allowed(inner.group(1), allowed) else "refused"
        return is_allowed(expression[:inner.start()] + word + expression[inner.end():], allowed)
    return all(
        any(word.strip() in allowed for word in part.split(" OR "))
        for part in expression.split(" AND "))


def refused(packages, built, rules):
    """deny.toml: licences, crates that were turned away, sources other than the registry."""
    allowed = set(rules["licenses"]["allow"])
    banned = {ban["name"] for ban in rules["bans"]["deny"]}
    registries = {"registry+" + url for url in rules["sources"]["allow-registry"]}
    for package in packages:
        if package["name"] not in built:
            continue
        where = f"{package['name']} {package['version']}"
        if not is_allowed(package["license"] or "none", allowed):
            yield where, f"licence {package['license']}"
        if package["name"] in banned:
            yield where, "was turned away in deny.toml"
        if package["source"] is not None and package["source"] not in registries:
            yield where, f"comes from {package['source']}"
        for wanted in package["dependencies"] if package["source"] is None else []:
            if wanted["req"] == "*" and wanted.get("path") is None:
                yield where, f"asks for any version of {wanted['name']}"


def check_dependencies(data):
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    built = tree("--workspace", "-e", "normal,build,dev", "--target", "all")
    for where, what in refused(data["packages"], built, rules):
        report(where, what)


def check_arrows(data):
    for package in data["packages"]:
        if package["source"] is not None:
            continue
        own = package["name"].removeprefix("holdfast-")
        if own not in ARROWS:
            report("Cargo.toml", f"crate `{own}` has no arrows in .ci/house.py")
            continue
        reached = tree("-p", package["name"], "-e", "normal")
        ours = {name.removeprefix("holdfast-") for name in reached if name.startswith("holdfast-")}
        for arrow in sorted(ours - ARROWS[own] - {own}):
            report(f"crates/{own}", f"reaches `{arrow}`, which is no arrow of the house")
        for other in sorted(UNREACHABLE.get(own, set()) & reached):
            report(f"crates/{own}", f"reaches `{other}`")


def rust_files():
    out = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.rs"],
                         cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in out.stdout.splitlines() if (ROOT / line).exists()]


def check_files():
    unsafe = []
    for path in rust_files():
        where = path.relative_to(ROOT)
        text = path.read_text()
        lines = text.splitlines()
        limit = MAIN_LINES_MAX if path.name == "main.rs" else FILE_LINES_MAX
        if len(lines) > limit:
            report(where, f"{len(lines)} lines, more than {limit}")
        if not any(line.startswith("//!") for line in lines[:3]):
            report(where, "has no story on its first lines")
        if path.stem in FORBIDDEN_MODULES and path.parent.name != "common":
            report(where, "is called by a word that says nothing")
        for number, line in enumerate(lines, 1):
            if len(line) > LINE_MAX and path.name not in TABLES and "r#\"" not in line:
                report(f"{where}:{number}", f"{len(line)} columns, more than {LINE_MAX}")
            if SOFT_WORDS.search(line):
                report(f"{where}:{number}", "an unfinished word")
            if re.search(r"\bunsafe \{", line):
                unsafe.append(f"{where}:{number}")
    if len(unsafe) > UNSAFE_MAX:
        report(unsafe[-1], f"{len(unsafe)} unsafe blocks, more than {UNSAFE_MAX}: {unsafe}")


def check_broken():
    """Every break of tests/broken fits its file, and no promise and no stored form is without one."""
    out = subprocess.run([sys.executable, ROOT / "tests/broken/run", "--check"],
                         cwd=ROOT, capture_output=True, text=True)
    for line in [*out.stdout.splitlines(), *out.stderr.splitlines()]:
        breaks.append(line)


def main():
    facts = metadata()
    check_dependencies(facts)
    check_arrows(facts)
    check_files()
    check_broken()
    for line in breaks:
        print(line)
    print(f"house: {len(breaks)} breaks")
    return 1 if breaks else 0


if __name__ == "__main__":
    sys.exit(main())
