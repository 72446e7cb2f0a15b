// What people do first, with the client that `openapi-generator` makes for TypeScript: create, upload, run, wait, read.

import {
    ActionsApi, ApplicationsApi, BuildsApi, Configuration, EventsApi, JobsApi, type SubmittedJob,
} from "./fetch_client/index";

declare const process: { argv: string[]; env: Record<string, string>; exit(code: number): never };

const app = process.argv[2];
const configuration = new Configuration({ basePath: process.env.ELITA_URL, accessToken: process.env.ELITA_TOKEN });
const applications = new ApplicationsApi(configuration), builds = new BuildsApi(configuration);
const actions = new ActionsApi(configuration), jobs = new JobsApi(configuration);
const events = new EventsApi(configuration);

function assert(holds: unknown, what: unknown): asserts holds {
    if (!holds) throw new Error(JSON.stringify(what));
}

/** The job, once it has ended. */
async function ended(job: SubmittedJob) {
    const found = await jobs.jobsGet({ id: job.jobId, wait: 60 });
    assert(found.status === "succeeded", found);
    return found;
}

// An archive with one empty file: a header for `a` and two blocks of zeros.
const file = new Uint8Array(1536);
const put = (text: string, at: number) => file.set(new TextEncoder().encode(text), at);
put("a", 0), put("0000644\0", 100), put("0000000\0", 108), put("0000000\0", 116), put("00000000000\0", 124);
put("00000000000\0", 136), put("        ", 148), put("0", 156), put("ustar\x0000", 257);
const sum = file.slice(0, 512).reduce((sum, byte) => sum + byte, 0);
put(sum.toString(8).padStart(6, "0") + "\0 ", 148);

async function main() {
    await applications.applicationsCreate({ newApplication: { appName: app } });
    assert((await applications.applicationsGet({ app })).appName === app, app);
    const listed = await applications.applicationsList({ name: app });
    assert(listed.items.some(found => found.appName === app), listed);
    await builds.buildsCreate({ app, newBuild: { buildName: "1" } });
    await ended(await builds.buildsUploadFile({ app, build: "1", fileType: "tar", body: new Blob([file]) }));
    const build = await builds.buildsGet({ app, build: "1" });
    assert(build.stored && build.fileCount === 1, build);
    const master = new Uint8Array(await (await builds.buildsPackage({ app, build: "1", _package: "master" })).arrayBuffer());
    assert(master.length === file.length && master.every((byte, at) => byte === file[at]), master.length);

    const asked = { app: "my_application", action: "DeleteWidgets", body: { testing: "true", count: "2" } };
    const job = await ended(await actions.actionsRun(asked));
    assert(job.name === "DeleteWidgets" && (job.result as { testing: boolean }).testing === true, job);
    assert((await jobs.jobsList({ id: job.jobId })).items.length === 1, job);
    assert((await jobs.jobsEntries({ id: job.jobId, q: "starting" }))?.hits === 1, job);
    assert((await jobs.jobsLog({ id: job.jobId })).includes("starting"), job);
    const happened = await events.eventsFollow({ wait: 0 });
    assert(happened.next && happened.items.length === 0, happened);

    // The reply is there although the body was not read to its end, and says what to do.
    const headers = { Authorization: `Bearer ${process.env.ELITA_TOKEN}` };
    await builds.buildsCreate({ app, newBuild: { buildName: "2-late" } });
    const form = new FormData();
    form.append("build", new Blob([new Uint8Array(8_000_000)]), "a.tar");
    form.append("file_type", "tar");
    for (const build of ["2-late", "nowhere"]) {
        const reply = await fetch(`${process.env.ELITA_URL}/app/${app}/builds/${build}`, { method: "POST", headers, body: form });
        const problem = await reply.json();
        assert([404, 422].includes(reply.status) && problem.detail, problem);
    }

    const missing = await builds.buildsGet({ app, build: "2" }).catch(error => error.response);
    assert(missing.status === 404 && (await missing.json()).code === "not-found", missing);
}

main().catch(error => {
    console.error(error);
    process.exit(1);
});
