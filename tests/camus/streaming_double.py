#!/usr/bin/python3
"""What Hadoop Streaming does with a job of penstock-camus, on this machine alone: an attempt's folder for each mapper, FileOutputCommitter's
first algorithm, and applications that the ResourceManager double tells of.

usage: streaming_double.py rm FOLDER                       the web service; prints its port; applications are FOLDER/*.app
       streaming_double.py job FOLDER ARGUMENT...          one job, with Hadoop Streaming's arguments
What goes wrong stands in FOLDER/plan, words of: twice (two attempts of each task at the same time, either is committed), killed (the first attempt
of task 0 is killed when it has written), cut, gone, other (report of task 0 after the commit: cut, removed, a data file is replaced), fail (the job
ends without a commit), cut-item (task 0's line), hang (the job goes on and on; FOLDER/end ends it), slow (waits for FOLDER/go before the tasks)."""
import http.server
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.parse


def rm(folder):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            url = urllib.parse.urlparse(self.path)
            if os.path.exists(folder + "/standby"):
                return self.answer("This is standby RM. The redirect url is: /\n", "text/plain")
            if url.path == "/ws/v1/cluster/info":
                return self.answer('{"clusterInfo":{"id":1,"state":"STARTED","haState":"ACTIVE"}}')
            tag = urllib.parse.parse_qs(url.query).get("applicationTags", [""])[0]
            apps = []
            for name in sorted(os.listdir(folder)):
                if name.endswith(".app"):
                    with open(folder + "/" + name) as file:
                        app = json.load(file)
                    if tag in app["applicationTags"].split(","):
                        apps.append(app)
            self.answer(json.dumps({"apps": {"app": apps} if apps else None}))

        def answer(self, text, kind="application/json"):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


class Job:
    def __init__(self, folder, arguments):
        self.folder, self.defines, self.options = folder, {}, {}
        while arguments:
            name = arguments.pop(0)
            if name == "-D":
                key, _, value = arguments.pop(0).partition("=")
                self.defines[key] = value
            elif name == "-lazyOutput":
                self.options[name] = ""
            else:
                self.options[name] = arguments.pop(0)
        for key, value in (("mapreduce.job.reduces", "0"), ("mapreduce.input.lineinputformat.linespermap", "1"), ("stream.map.input.ignoreKey", "true"),
                           ("mapreduce.fileoutputcommitter.algorithm.version", "1"), ("mapreduce.fileoutputcommitter.marksuccessfuljobs", "true")):
            assert self.defines.get(key) == value, key
        assert self.options["-inputformat"] == "org.apache.hadoop.mapred.lib.NLineInputFormat"
        self.out = urllib.parse.urlparse(self.options["-output"]).path
        self.input = urllib.parse.urlparse(self.options["-input"]).path
        try:
            with open(folder + "/plan") as file:
                self.plan = file.read().split()
        except FileNotFoundError:
            self.plan = []
        self.number = 1 + len([n for n in os.listdir(folder) if n.endswith(".app")])
        self.tell("ACCEPTED", "UNDEFINED", 0)

    def tell(self, state, final, progress):
        path = "%s/%04d.app" % (self.folder, self.number)
        with open(path + ".new", "w") as file:
            json.dump({"id": "application_1_%04d" % self.number, "state": state, "finalStatus": final, "progress": progress,
                       "diagnostics": "", "applicationTags": self.defines["mapreduce.job.tags"]}, file)
        os.rename(path + ".new", path)

    def attempt(self, task, number, line):
        name = "attempt_1_%04d_m_%06d_%d" % (self.number, task, number)
        where, out = "%s/%s" % (self.folder, name), "%s/_temporary/1/_temporary/%s" % (self.out, name)
        os.makedirs(where)
        os.makedirs(out)
        for file in self.options["-files"].split(","):
            shutil.copy(file, where)
        archive, _, link = self.options["-archives"].partition("#")
        if not os.path.exists(self.folder + "/unpacked"):
            os.makedirs(self.folder + "/unpacked")
            subprocess.run(["tar", "-C", self.folder + "/unpacked", "-xzf", archive], check=True)
        os.symlink(self.folder + "/unpacked", where + "/" + link)
        env = {"PATH": "/usr/bin:/bin", "mapreduce_task_output_dir": "file:" + out, "mapreduce_task_attempt_id": name,
               "mapreduce_map_input_file": self.options["-input"], "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "")}
        if "killed" in self.plan and task == 0 and number == 0:
            env["PENSTOCK_CAMUS_KILL_AT"] = "task-report"
        program = self.options["-mapper"].split()
        with open(where + "/item", "w") as item:
            item.write(line[:len(line) // 2] if "cut-item" in self.plan and task == 0 else line)
        with open(where + "/item") as item, open(where + "/stderr", "w") as err:
            return out, subprocess.Popen([where + "/" + program[0]] + program[1:], cwd=where, env=env, stdin=item, stderr=err)

    def commit(self, task, out):
        os.rename(out, "%s/_temporary/1/task_%d" % (self.out, task))

    def run(self):
        if "slow" in self.plan:
            while not os.path.exists(self.folder + "/go"):
                time.sleep(0.05)
        assert not os.path.exists(self.out), "Output directory already exists"
        with open(self.input) as file:
            lines = file.readlines()
        self.tell("RUNNING", "UNDEFINED", 0)
        for task, line in enumerate(lines):
            pair = [self.attempt(task, number, line) for number in range(2 if "twice" in self.plan else 1)]
            done = [(out, process.wait()) for out, process in pair]
            if "twice" in self.plan:
                assert [rc for _, rc in done] == [0, 0], done
                self.commit(task, done[task % 2][0])
                continue
            tries = 1
            while done[0][1] and tries < 4:
                shutil.rmtree(done[0][0])
                out, process = self.attempt(task, tries, line)
                done, tries = [(out, process.wait())], tries + 1
            if done[0][1] == 0:
                self.commit(task, done[0][0])
            elif self.defines["mapreduce.map.failures.maxpercent"] == "0":
                self.plan.append("fail")
        if "fail" in self.plan:
            shutil.rmtree(self.out + "/_temporary")
            self.tell("FINISHED", "FAILED", 100)
            print("Job not successful. Error: Task failed")
            return 1
        for name in os.listdir(self.out + "/_temporary/1"):
            if name.startswith("task_"):
                for file in os.listdir("%s/_temporary/1/%s" % (self.out, name)):
                    os.rename("%s/_temporary/1/%s/%s" % (self.out, name, file), self.out + "/" + file)
        shutil.rmtree(self.out + "/_temporary")
        if "hang" in self.plan:
            while not os.path.exists(self.folder + "/end"):
                time.sleep(0.05)
        report = self.out + "/report-0"
        if "cut" in self.plan:
            os.truncate(report, os.path.getsize(report) // 2)
        if "gone" in self.plan:
            os.unlink(report)
        if "other" in self.plan:
            name = sorted(n for n in os.listdir(self.out) if n.startswith("data-0-"))[0]
            shutil.copy(self.out + "/" + name, self.out + "/new")
            os.rename(self.out + "/new", self.out + "/" + name)
        with open(self.out + "/_SUCCESS", "w"):
            pass
        self.tell("FINISHED", "SUCCEEDED", 100)
        return 0


if sys.argv[1] == "rm":
    rm(sys.argv[2])
else:
    sys.exit(Job(sys.argv[2], sys.argv[3:]).run())
