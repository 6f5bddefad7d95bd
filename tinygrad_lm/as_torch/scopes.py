"""Which dotted names of imported modules a source uses, scope by scope: a name that was given to
something else is not the module's any more."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Scope:
    """The names bound in a module, class, function, lambda or comprehension; of each binding, in
    order of their lines: (place, dotted name of what was imported, or None)."""

    above: Scope | None = None
    kind: str = "at once"  # or "class", or "later": a function, which runs when it is called
    bound: dict[str, list[tuple[int, str | None]]] = field(default_factory=dict)

    def meaning(self, name: str, place: int) -> str | None:
        """What `name` stands for when it is read at a place of this scope. What was bound last
        counts: before that place, or anywhere in the scopes above a function, which runs later."""
        scope: Scope | None = self
        later = False
        while scope and (not scope.bound.get(name) or scope.kind == "class" and scope is not self):
            later = later or scope.kind == "later"
            scope = scope.above
        if scope is None:
            return None
        bound = sorted(scope.bound[name], key=lambda one: one[0])
        before = [one for one in bound if later or one[0] <= place]
        return (before or bound)[-1][1]


@dataclass
class Use:
    """What a source takes from imported modules, and the names it calls on other objects."""

    names: Counter[str] = field(default_factory=Counter)  # dotted, of any module
    methods: Counter[str] = field(default_factory=Counter)  # `x.name(...)`, x of no module
    defined: set[str] = field(default_factory=set)  # functions, classes, attributes of self


class Reader(ast.NodeVisitor):
    """Fills `use` with what a tree takes from modules."""

    def __init__(self, tree: ast.Module):
        self.use, self.scope, self.place = Use(), Scope(), 0
        self.chains: list[tuple[Scope, int, str, list[str], bool]] = []
        self.visit(tree)
        for scope, place, root, parts, called in self.chains:
            if dotted := scope.meaning(root, place):
                self.use.names[".".join([dotted, *parts])] += 1
            elif called:
                self.use.methods[parts[-1]] += 1

    def bind(self, name: str, dotted: str | None = None) -> None:
        self.place += 1
        self.scope.bound.setdefault(name, []).append((self.place, dotted))

    def inside(self, nodes: list, kind: str = "at once", bound: tuple[str, ...] = ()) -> None:
        self.scope = Scope(self.scope, kind)
        for name in bound:
            self.bind(name)
        for node in nodes:
            self.visit(node)
        assert self.scope.above
        self.scope = self.scope.above

    # what binds a name

    def visit_Import(self, node: ast.Import) -> None:
        for item in node.names:
            self.use.names[item.name] += 1
            top = item.name.partition(".")[0]
            self.bind(item.asname or top, item.name if item.asname else top)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for item in node.names:
            above = "." * node.level + (node.module or "")
            full = above if item.name == "*" else f"{above}.{item.name}"
            self.use.names[full] += 1
            if item.name != "*":
                self.bind(item.asname or item.name, full)

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.bind(node.id)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        if not isinstance(node.value, ast.Constant):  # `torch = None` where an import failed
            for target in node.targets:
                self.visit(target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        self.visit(node.target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        for part in (node.annotation, node.value, node.target):
            if part:
                self.visit(part)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        for part in (node.iter, node.target, *node.body, *node.orelse):
            self.visit(part)

    visit_AsyncFor = visit_For

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.bind(node.name)
        self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name:
            self.bind(node.name)
        super().generic_visit(node)

    # what has a scope of its own

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.use.defined.add(node.name)
        for part in (*node.decorator_list, *filter(None, [node.returns])):
            self.visit(part)
        self.function(node.args, node.body)
        self.bind(node.name)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.function(node.args, [node.body])

    def function(self, args: ast.arguments, body: list) -> None:
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
        given = [arg for arg in every if arg]
        for part in (*args.defaults, *args.kw_defaults, *(arg.annotation for arg in given)):
            if part:
                self.visit(part)
        self.inside(body, "later", bound=tuple(arg.arg for arg in given))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.use.defined.add(node.name)
        for part in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(part)
        self.inside(node.body, "class")
        self.bind(node.name)

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> None:
        self.inside([*node.generators, node.elt])

    visit_SetComp = visit_GeneratorExp = visit_ListComp

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self.inside([*node.generators, node.key, node.value])

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for part in (node.iter, node.target, *node.ifs):
            self.visit(part)

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        scope = self.scope
        while scope.above:
            scope = scope.above
        for name in node.names:  # one list of bindings for both scopes
            self.scope.bound[name] = scope.bound.setdefault(name, [])

    # what reads one

    def visit_Attribute(self, node: ast.Attribute, called: bool = False) -> None:
        parts, root = [], node
        while isinstance(root, ast.Attribute):
            parts.append(root.attr)
            root = root.value  # type: ignore[assignment]
        if not isinstance(root, ast.Name):
            if called:
                self.use.methods[node.attr] += 1
            self.visit(root)
            return
        if root.id == "self" and isinstance(node.ctx, ast.Store):
            self.use.defined.add(node.attr)
        self.place += 1
        self.chains.append((self.scope, self.place, root.id, parts[::-1], called))

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute):
            self.visit_Attribute(node.func, called=True)
        else:
            self.visit(node.func)
        for part in (*node.args, *node.keywords):
            self.visit(part)
