"""Shell completion: a script that knows every command, option, recipe, protocol, data set and layout."""

from __future__ import annotations

from functools import cache
from typing import Literal


def script(shell: Literal["bash", "zsh", "fish"]) -> str:
    """Print a script that completes commands, their options, recipes and protocols.

    Args:
        shell: bash, zsh or fish; for bash, add `eval "$(kinemask completion bash)"` to ~/.bashrc
    """
    words = completions()
    if shell == "fish":
        lines = ["complete -c kinemask -f -n __fish_use_subcommand -a '" + " ".join(words[""]) + "'"]
        for command, options in words.items():
            for word in options if command else ():
                kind = f"-l {word[2:]}" if word.startswith("--") else f"-a {word}"
                lines.append(f"complete -c kinemask -n '__fish_seen_subcommand_from {command}' {kind}")
        return "\n".join(lines)
    cases = "\n".join(f'    {name}) words="{" ".join(found)}" ;;' for name, found in words.items() if name)
    loading = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return f"""{loading}_kinemask() {{
  local words current="${{COMP_WORDS[COMP_CWORD]}}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{" ".join(words[""])}"
  else case "${{COMP_WORDS[1]}}" in
{cases}
  esac; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _kinemask kinemask"""


@cache
def completions() -> dict[str, list[str]]:
    """What may follow each command; under "", the commands."""
    from kinemask.arguments import option
    from kinemask.cli import COMMANDS, parsers
    from kinemask.pretext.methods import NAMES
    from kinemask.protocols.catalogue import PROTOCOLS
    from kinemask.recipes import recipe_names

    found: dict[str, list[str]] = {"": list(COMMANDS)}
    names = recipe_names()
    for command in COMMANDS:
        if command == "pretrain":
            first = [next(r for r in names if r.startswith(f"{method}-")) for method in NAMES]
            made = [parsers.pretrain(["--recipe", recipe])[1] for recipe in first]
            more = names
        elif command == "evaluate":
            made, more = [parsers.evaluate([protocol]) for protocol in PROTOCOLS], list(PROTOCOLS)
        else:
            made, more = [parsers.of_command(command)([])], []
        options = dict.fromkeys(option(n) for p in made for n in p.known if n not in p.positional)
        found[command] = [*more, *options]
    return found
