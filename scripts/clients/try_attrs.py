"""What people do first, with the client that `openapi-python-client` makes: create, upload, run, wait, read."""

import io
import os
import sys
import zipfile

from attrs_client import AuthenticatedClient
from attrs_client.api.actions import actions_run
from attrs_client.api.applications import applications_create, applications_get, applications_list
from attrs_client.api.builds import builds_create, builds_get, builds_package, builds_upload_file
from attrs_client.api.events import events_follow
from attrs_client.api.jobs import jobs_entries, jobs_get, jobs_list, jobs_log
from attrs_client.models import ActionsRunJsonBody, FileType, JobStatus, NewApplication, NewBuild
from attrs_client.types import File

APP = sys.argv[1]
client = AuthenticatedClient(base_url=os.environ["ELITA_URL"], token=os.environ["ELITA_TOKEN"])


def done(reply, status):
    """The document of a reply that has to have this status."""
    assert reply.status_code == status, (reply.status_code, reply.content)
    return reply.parsed


def ended(job):
    """The job, once it has ended."""
    job = done(jobs_get.sync_detailed(job.job_id, client=client, wait=60), 200)
    assert job.status == JobStatus.SUCCEEDED, job
    return job


archive = io.BytesIO()
with zipfile.ZipFile(archive, "w") as file:
    file.writestr("web/index.html", "hello")

done(applications_create.sync_detailed(client=client, body=NewApplication(app_name=APP)), 201)
assert done(applications_get.sync_detailed(APP, client=client), 200).app_name == APP
assert APP in [found.app_name for found in done(applications_list.sync_detailed(client=client, name=APP), 200).items]
done(builds_create.sync_detailed(APP, client=client, body=NewBuild(build_name="1")), 201)
upload = File(payload=io.BytesIO(archive.getvalue()))
ended(done(builds_upload_file.sync_detailed(APP, "1", client=client, body=upload, file_type=FileType.ZIP), 202))
build = done(builds_get.sync_detailed(APP, "1", client=client), 200)
assert build.stored and build.file_count == 1, build
master = done(builds_package.sync_detailed(APP, "1", "master", client=client), 200)
assert master.payload.read() == archive.getvalue()

parameters = ActionsRunJsonBody.from_dict({"testing": "true", "count": "2"})
job = ended(done(actions_run.sync_detailed("my_application", "DeleteWidgets", client=client, body=parameters), 202))
assert job.name == "DeleteWidgets" and job.result["testing"] is True, job
listed = done(jobs_list.sync_detailed(client=client, id=job.job_id), 200)
assert [found.job_id for found in listed.items] == [job.job_id], listed
assert done(jobs_entries.sync_detailed(job.job_id, client=client, q="starting"), 200).hits == 1
assert "starting" in jobs_log.sync_detailed(job.job_id, client=client).content.decode()
assert done(events_follow.sync_detailed(client=client), 200).to_dict()["next"]
missing = builds_get.sync_detailed(APP, "2", client=client)
assert missing.status_code == 404 and missing.parsed.code == "not-found", missing
