"""Static files: whole and in parts, told apart from a file that has not changed, and without a word in the log."""

from __future__ import annotations

import warnings

from django.conf import settings
from django.test import AsyncClient, RequestFactory
from whitenoise.responders import StaticFile

from models_app.web.static_files import StaticFilesMiddleware

SHEET = "/static/css/base.css"
CONTENT = (settings.BASE_DIR / "static/css/base.css").read_bytes()


def test_a_sheet_is_served_to_anybody_with_its_type_and_an_age(client):
    answer = client.get(SHEET)
    assert answer.content == CONTENT
    assert answer["Content-Type"].startswith("text/css")
    assert "max-age" in answer["Cache-Control"]


def test_a_sheet_that_has_not_changed_is_not_sent_again(client):
    etag = client.get(SHEET)["ETag"]
    answer = client.get(SHEET, headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_a_part_of_a_file_is_the_part_that_was_asked_for(client):
    answer = client.get(SHEET, headers={"Range": "bytes=3-9"})
    assert (answer.status_code, answer.content) == (206, CONTENT[3:10])


def test_a_head_has_the_length_and_no_body(client):
    answer = client.head(SHEET)
    assert (answer["Content-Length"], answer.content) == (str(len(CONTENT)), b"")


def test_a_file_that_was_replaced_is_sent_with_its_new_length(tmp_path):
    sheet = tmp_path / "sheet.css"
    sheet.write_text("a{}")
    static_file = StaticFile(str(sheet), [("Content-Type", "text/css")])
    sheet.write_text("a { color: red }")
    answer = StaticFilesMiddleware.serve(static_file, RequestFactory().get(SHEET))
    assert (answer["Content-Length"], answer.content) == ("16", b"a { color: red }")


async def test_the_asynchronous_server_has_nothing_to_warn_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answer = await AsyncClient().get(SHEET)
    assert not answer.streaming
    assert answer.content == CONTENT
