"""The process that renders chat templates: started as a script, and killed when it takes too long.

A template is a program that comes with a checkpoint. The sandbox keeps it from Python's objects,
and this process bounds what it can cost: the parent waits only so long for an answer, the memory is
limited by the system where it can be, and the output is counted.

One JSON object a line, in and out. First comes {"path", "memory_bytes"}, answered by {}; then
{"template"}, answered by {} or an error; then any number of {"variables", "most_characters"}, each
answered by {"text"} or an error. An error is {"error", "line"}, the line of the template or null.

This file must not import the package: it runs without it, with jinja2 alone.
"""

import json
import sys
from datetime import datetime


def _limit_memory(extra_bytes):
    """Let this process grow by `extra_bytes` at most, where the system knows such a limit."""
    try:
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + extra_bytes, now + extra_bytes))
    except (ImportError, OSError, ValueError):
        pass  # the time limit still holds


def _make_environment():
    """An environment with the conventions of transformers' chat templates."""
    import jinja2
    import jinja2.ext
    import jinja2.nodes
    import jinja2.sandbox

    class GenerationTag(jinja2.ext.Extension):
        """{% generation %}…{% endgeneration %} marks an answer for training. Its text, here."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.Scope(body, lineno=line)

    def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[GenerationTag, "jinja2.ext.loopcontrols"],
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _line_of(error):
    """The line of the template at which an error arose, None if it is not known."""
    line = getattr(error, "lineno", None)
    frame = error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == "<template>":
            line = frame.tb_lineno
        frame = frame.tb_next
    return line


def _render(template, variables, most_characters):
    pieces, size = [], 0
    for piece in template.generate(**variables):
        size += len(piece)
        if size > most_characters:
            return {"error": f"writes more than {most_characters} characters", "line": None}
        pieces.append(piece)
    return {"text": "".join(pieces)}


def _answer(work):
    """What `work` gives, or what went wrong, as JSON."""
    try:
        return json.dumps(work())
    except MemoryError:
        error, line = "needs more memory than it may have", None
    except RecursionError:
        error, line = "is nested too deeply", None
    except Exception as raised:  # whatever a template can cause
        error, line = (str(raised) or type(raised).__name__)[:500], _line_of(raised)
    return json.dumps({"error": error, "line": line})


class _Session:
    """One template and its renderings."""

    def __init__(self, environment):
        self.environment = environment
        self.template = None

    def do(self, request):
        if "template" in request:
            self.template = self.environment.from_string(request["template"])
            return {}
        return _render(self.template, request["variables"], request["most_characters"])


def main():
    def send(answer):
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()

    start = json.loads(sys.stdin.readline())
    sys.path[:] = start["path"]
    session = _Session(_make_environment())
    # Whatever is imported late must be there before the limit.
    session.do({"template": "{% for m in x %}{{ m | trim }}{% endfor %}"})
    session.do({"variables": {"x": ["a"]}, "most_characters": 1})
    _limit_memory(start["memory_bytes"])
    send("{}")
    for line in sys.stdin:
        request = json.loads(line)
        send(_answer(lambda request=request: session.do(request)))


if __name__ == "__main__":
    main()
