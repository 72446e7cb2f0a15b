"""What people do first, with the client that `openapi-generator` makes for Python: create, upload, run, wait, read."""

import io
import os
import sys
import zipfile

import pydantic_client as made

APP = sys.argv[1]
configuration = made.Configuration(host=os.environ["ELITA_URL"], access_token=os.environ["ELITA_TOKEN"])
client = made.ApiClient(configuration)
applications, builds = made.ApplicationsApi(client), made.BuildsApi(client)
actions, jobs = made.ActionsApi(client), made.JobsApi(client)


def ended(job):
    """The job, once it has ended."""
    job = jobs.jobs_get(job.job_id, wait=60)
    assert job.status == "succeeded", job
    return job


archive = io.BytesIO()
with zipfile.ZipFile(archive, "w") as file:
    file.writestr("web/index.html", "hello")

applications.applications_create(made.NewApplication(app_name=APP))
assert applications.applications_get(APP).app_name == APP
assert APP in [found.app_name for found in applications.applications_list(name=APP).items]
builds.builds_create(APP, made.NewBuild(build_name="1"))
ended(builds.builds_upload_file(APP, "1", archive.getvalue(), file_type=made.FileType.ZIP))
build = builds.builds_get(APP, "1")
assert build.stored and build.file_count == 1, build
assert bytes(builds.builds_package(APP, "1", "master")) == archive.getvalue()

job = ended(actions.actions_run("my_application", "DeleteWidgets", {"testing": "true", "count": "2"}))
assert job.name == "DeleteWidgets" and job.result["testing"] is True, job
assert [found.job_id for found in jobs.jobs_list(id=str(job.job_id)).items] == [job.job_id]
assert jobs.jobs_entries(job.job_id, q="starting").hits == 1
assert "starting" in jobs.jobs_log(job.job_id)
assert made.EventsApi(client).events_follow().next
try:
    builds.builds_get(APP, "2")
    raise AssertionError("there is no such build")
except made.exceptions.NotFoundException as missing:
    assert missing.status == 404 and "not-found" in missing.body, missing
