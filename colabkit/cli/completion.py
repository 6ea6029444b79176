"""Print a script that lets a shell complete these commands and their options at the press of Tab.

It holds all the words, so that completing starts no Python. Write it again after an update of colabkit. For bash, put
`eval "$(colabkit completion bash)"` into ~/.bashrc; for zsh the same with zsh into ~/.zshrc, behind compinit; for fish
write it to ~/.config/fish/completions/colabkit.fish.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass

from colabkit.cli import COMMANDS, Outcome, build_parser

EXAMPLE = "colabkit completion bash"
MORE_EXAMPLES = ("colabkit completion zsh", "colabkit completion fish > ~/.config/fish/completions/colabkit.fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the shell."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="shell", help="one of: %(choices)s")


def run(args: argparse.Namespace) -> Outcome:
    """Write the script of one shell."""
    text = {"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell]([_words_of(name) for name in COMMANDS])
    return Outcome({"shell": args.shell, "script": text}, text)


@dataclass(frozen=True, kw_only=True)
class _Command:
    name: str
    choices: tuple[str, ...]
    options: tuple[tuple[str, str], ...]  # each with its first line of help


def _words_of(name: str) -> _Command:
    commands = next(
        action
        for action in build_parser([name])._actions  # noqa: SLF001 - argparse has no public way to list its arguments
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
    )
    parser: argparse.ArgumentParser = commands.choices[name]
    choices: tuple[str, ...] = ()
    options: list[tuple[str, str]] = []
    actions = list(parser._actions)  # noqa: SLF001
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            actions += [nested for each in action.choices.values() for nested in each._actions]  # noqa: SLF001
    for action in actions:
        if not action.option_strings:
            choices += tuple(map(str, action.choices or ()))
        help_text = parser._get_formatter()._expand_help(action) if action.help else ""  # noqa: SLF001
        options += [(option, help_text) for option in action.option_strings if option.startswith("--")]
    return _Command(name=name, choices=choices, options=tuple(dict(options).items()))


def _bash(commands: list[_Command]) -> str:
    offered = {command.name: [*command.choices, *(option for option, _ in command.options)] for command in commands}
    cases = "\n".join(f"        {name}) words={shlex.quote(' '.join(words))} ;;" for name, words in offered.items())
    return f"""\
_colabkit() {{
    local word command="" words={shlex.quote(" ".join([*COMMANDS, "--help", "--version"]))}
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $word in -*) ;; *) command=$word; break ;; esac
    done
    case $command in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _colabkit colabkit"""


def _zsh(commands: list[_Command]) -> str:
    names = " ".join(shlex.quote(f"{name}:{COMMANDS[name]}") for name in COMMANDS)
    cases = "\n".join(f"        {command.name}) {_zsh_words(command)} ;;" for command in commands)
    return f"""\
#compdef colabkit
_colabkit() {{
    if (( CURRENT == 2 )); then
        local -a names=({names})
        _describe command names
        return
    fi
    case $words[2] in
{cases}
    esac
    [[ $PREFIX == -* ]] || _files
}}
if [[ $funcstack[1] == _colabkit ]]; then _colabkit "$@"; else compdef _colabkit colabkit; fi"""


def _zsh_words(command: _Command) -> str:
    # _describe takes the text before the first colon, and shows what follows.
    options = " ".join(shlex.quote(f"{option}:{help_text}") for option, help_text in command.options)
    choices = f"compadd -- {' '.join(command.choices)}; " if command.choices else ""
    return f"{choices}local -a options=({options}); [[ $PREFIX == -* ]] && _describe -o option options"


def _fish(commands: list[_Command]) -> str:
    lines = [
        f"complete -c colabkit -n __fish_use_subcommand -f -a {name} -d {shlex.quote(COMMANDS[name])}"
        for name in COMMANDS
    ]
    for command in commands:
        seen = f"complete -c colabkit -n '__fish_seen_subcommand_from {command.name}'"
        lines += [f"{seen} -a {choice}" for choice in command.choices]
        lines += [
            f"{seen} -l {option.removeprefix('--')} -d {_fish_quoted(help_text)}"
            for option, help_text in command.options
        ]
    return "\n".join(lines)


def _fish_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
