"""From an HTTP request to a verb and back: one catch-all handler for aiohttp."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import yaml
from aiohttp import web

from tests.fakes.kubernetes import discovery, patches, replies, status, times
from tests.fakes.kubernetes.access import ADMIN, Access, Attributes, User
from tests.fakes.kubernetes.address import Target
from tests.fakes.kubernetes.api import Api
from tests.fakes.kubernetes.faults import Armed, Break, Faults, Request, Requests
from tests.fakes.kubernetes.lists import Pages
from tests.fakes.kubernetes.status import ApiError
from tests.fakes.kubernetes.watches import Bell, Watch, error_line
from tests.fakes.kubernetes.writes import Writer

ACCESS_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
TRUE = {"true", "1"}


@dataclass(slots=True)
class Handler:
    """Answers every request; needs the loop it runs in for its bell."""

    api: Api
    access: Access
    faults: Faults
    requests: Requests
    pages: Pages
    bell: Bell
    bookmark_seconds: float
    anonymous_is_admin: bool
    streams: set[asyncio.Task[Any]]

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        watched = request.method == "GET" and (
            request.query.get("watch") in TRUE or "/watch/" in request.path
        )
        method = "WATCH" if watched else request.method
        body = await request.read()
        url = request.path_qs
        armed = self.faults.take(method, url)
        user = ""
        code = 0
        try:
            if armed:
                await replies.before(armed, watched=watched)
            who = self._user(request)
            user = who.name
            if watched:
                code = 200
                self._record(request, method, body, user, code)
                return await self._watch(request, who, armed)
            answer = self._answer(request, who, body)
        except ApiError as error:
            answer = replies.failure(error, armed.fault.retry_after if armed else None)
        except replies.Cut:
            replies.reset(request)
            self._record(request, method, body, user, 0)
            return web.Response()
        code = answer.status
        self._record(request, method, body, user, code)
        return await replies.after(request, answer, armed)

    def _record(self, request: web.Request, method: str, body: bytes, user: str, code: int) -> None:
        self.requests.record(
            Request(
                method,
                request.path,
                dict(request.query),
                dict(request.headers),
                body,
                user,
                code,
            )
        )

    # --- who ------------------------------------------------------------------------------

    def _user(self, request: web.Request) -> User:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if not kind and self.anonymous_is_admin:
            return ADMIN
        user = self.access.user(token) if kind == "Bearer" else None
        if user is None:
            raise status.unauthorized()
        return user

    def _allow(self, user: User, verb: str, target: Target) -> None:
        resource = target.resource
        self.access.check(
            user,
            Attributes(
                verb,
                resource.group,
                resource.plural,
                target.subresource,
                target.namespace,
                target.name,
            ),
        )

    # --- verbs ----------------------------------------------------------------------------

    def _answer(  # noqa: PLR0911
        self, request: web.Request, user: User, body: bytes
    ) -> web.Response:
        path, method = request.path, request.method
        if path in {"/healthz", "/livez", "/readyz"}:
            return web.Response(text="ok")
        if path == ACCESS_REVIEW and method == "POST":
            return replies.json(self._review(user, orjson.loads(body)), 201)
        if method == "GET" and (found := discovery.answer(path, self.api.catalogue)) is not None:
            return replies.json(found)
        target = self.api.catalogue.target(path)
        match method:
            case "GET":
                return self._get(request, user, target)
            case "POST":
                return self._post(request, user, target, body)
            case "PUT" if target.name:
                self._allow(user, "update", target)
                given = _read(body)
                return replies.json(self.api.replace(target, given, _writer(request)))
            case "PATCH" if target.name:
                return self._patch(request, user, target, body)
            case "DELETE" if target.name:
                self._allow(user, "delete", target)
                options = _read(body) if body else {}
                if seconds := request.query.get("gracePeriodSeconds"):
                    options = {**options, "gracePeriodSeconds": int(seconds)}
                dry = bool(request.query.get("dryRun") or options.get("dryRun"))
                return replies.json(self.api.delete(target, options, dry=dry))
            case _:
                raise status.no_such_method()

    def _get(self, request: web.Request, user: User, target: Target) -> web.Response:
        partial = "as=PartialObjectMetadata" in request.headers.get("Accept", "")
        if target.name:
            self._allow(user, "get", target)
            found = self.api.get(target)
            if partial:
                found = {
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": found["metadata"],
                }
            return replies.json(found)
        self._allow(user, "list", target)
        return replies.raw(self.pages.list(target, request.query, partial=partial))

    def _post(self, request: web.Request, user: User, target: Target, body: bytes) -> web.Response:
        self._allow(user, "create", target)
        given = _read(body)
        if target.subresource == "token":
            self.api.get(Target(target.resource, target.namespace, target.name))
            token = self.access.token(target.namespace, target.name)
            expires = times.seconds(self.api.clock() + 3600)
            shown = {**given, "status": {"token": token, "expirationTimestamp": expires}}
            return replies.json(shown, 201)
        if target.name:
            raise status.no_such_method()
        return replies.json(self.api.create(target, given, _writer(request)), 201)

    def _patch(self, request: web.Request, user: User, target: Target, body: bytes) -> web.Response:
        self._allow(user, "patch", target)
        writer = _writer(request)
        kind = request.content_type
        if kind == "application/apply-patch+yaml":
            if not request.query.get("fieldManager"):
                cause = (
                    "fieldManager",
                    "FieldValueRequired",
                    "Required value: is required for apply patch",
                )
                raise status.invalid("meta.k8s.io", "PatchOptions", "", cause)
            existed = self.api.has(target)
            if not existed:
                self._allow(user, "create", target)
            applied = self.api.apply(target, yaml.load(body, yaml.CSafeLoader), writer)
            return replies.json(applied, 200 if existed else 201)
        patch = _read(body, list if kind == "application/json-patch+json" else dict)
        match kind:
            case "application/merge-patch+json":
                changed = self.api.patch(target, lambda obj: patches.merge(obj, patch), writer)
            case "application/json-patch+json":
                changed = self.api.patch(target, lambda obj: patches.json_patch(obj, patch), writer)
            case "application/strategic-merge-patch+json" if not target.resource.custom:
                changed = self.api.patch(
                    target, lambda obj: patches.merge(obj, patch, strategic=True), writer
                )
            case _:
                raise ApiError(
                    415,
                    "the body of the request was in an unknown format - accepted media types "
                    "include: application/json-patch+json, application/merge-patch+json, "
                    "application/apply-patch+yaml",
                )
        return replies.json(changed)

    def _review(self, user: User, review: Mapping[str, Any]) -> dict[str, Any]:
        asked = review["spec"].get("resourceAttributes") or {}
        names = ("verb", "group", "resource", "subresource", "namespace", "name")
        attributes = Attributes(**{name: asked.get(name, "") for name in names})
        return {**review, "status": {"allowed": self.access.allows(user, attributes)}}

    # --- watch ----------------------------------------------------------------------------

    async def _watch(
        self, request: web.Request, user: User, armed: Armed | None
    ) -> web.StreamResponse:
        target = self.api.catalogue.target(request.path.replace("/watch/", "/", 1))
        self._allow(user, "watch", target)
        partial = "as=PartialObjectMetadata" in request.headers.get("Accept", "")
        watch = Watch(
            self.api.store,
            self.bell,
            target,
            request.query,
            partial=partial,
            bookmark_seconds=self.bookmark_seconds,
        )
        breaks = armed.fault.breaks if armed else Break.NONE
        stream = web.StreamResponse()
        stream.content_type = "application/json"
        stream.enable_chunked_encoding()
        await stream.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        self.streams.add(task)
        try:
            if breaks is Break.GONE:
                await stream.write(error_line(status.expired(1, 2)))
                await stream.write_eof()
                return stream
            async for each in watch.lines():
                if breaks is Break.MALFORMED:
                    await stream.write(each[: len(each) // 2] + b"\n")
                    continue
                if breaks is Break.HALF:
                    await stream.write(each[: len(each) // 2])
                    assert request.transport is not None
                    request.transport.close()
                    return stream
                await stream.write(each)
            await stream.write_eof()
        except (ConnectionError, asyncio.CancelledError):
            with contextlib.suppress(ConnectionError):
                replies.reset(request)
        finally:
            self.streams.discard(task)
        return stream


def _writer(request: web.Request) -> Writer:
    agent = request.headers.get("User-Agent", "").split("/")[0] or "unknown"
    return Writer(
        request.query.get("fieldManager") or agent,
        force=request.query.get("force") in TRUE,
        dry=bool(request.query.get("dryRun")),
    )


def _read(body: bytes, kind: type = dict) -> Any:
    try:
        given = orjson.loads(body)
    except ValueError as error:
        raise ApiError(400, f"error decoding the body: {error}") from error
    if not isinstance(given, kind):
        raise ApiError(400, "json: cannot unmarshal the body into the expected type")
    return given
