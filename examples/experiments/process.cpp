#include "process.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

#include <strata/core/error.hpp>

namespace experiments {

namespace {

using strata::detail::uninterrupted;

void require_call(int result, const char* what) {
  strata::require(result >= 0, "cannot ", what, ": ", std::generic_category().message(errno));
}

}  // namespace

std::vector<int> allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  require_call(sched_getaffinity(0, sizeof set, &set), "ask for the processors of this process");
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  return cores;
}

child_process::child_process(const std::vector<std::string>& arguments, const std::vector<int>& cores) {
  // Nothing may allocate after the fork.
  const std::string program = "experiments";
  std::vector<char*> pointers{const_cast<char*>(program.c_str())};
  for (const std::string& each : arguments) pointers.push_back(const_cast<char*>(each.c_str()));
  pointers.push_back(nullptr);
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);

  int ends[2];
  require_call(pipe2(ends, O_CLOEXEC), "make a pipe");
  output_ = strata::detail::file_descriptor(ends[0]);
  const strata::detail::file_descriptor input(ends[1]);
  const pid_t parent = getpid();
  // Between fork and exec the child has this process's handlers. They would swallow an interruption.
  sigset_t interruptions, before;
  sigemptyset(&interruptions);
  sigaddset(&interruptions, SIGINT);
  sigaddset(&interruptions, SIGTERM);
  sigprocmask(SIG_BLOCK, &interruptions, &before);
  process_ = fork();
  const int problem = errno;
  if (process_ != 0) {
    sigprocmask(SIG_SETMASK, &before, nullptr);
    errno = problem;
    require_call(process_, "start a process");
    return;
  }
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, SIG_DFL);
  sigprocmask(SIG_SETMASK, &before, nullptr);

  // A separate group: an interruption from the terminal reaches only the parent. The parent passes it on.
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  if (!cores.empty()) sched_setaffinity(0, sizeof set, &set);
  dup2(ends[1], STDOUT_FILENO);
  dup2(ends[1], STDERR_FILENO);
  execv("/proc/self/exe", pointers.data());
  _exit(127);
}

child_process::~child_process() {
  if (process_ <= 0) return;
  kill(process_, SIGKILL);
  waitpid(process_, nullptr, 0);
}

bool child_process::read() {
  std::array<char, 4096> bytes;
  const ssize_t count = uninterrupted([&] { return ::read(output_.number(), bytes.data(), bytes.size()); });
  if (count <= 0) return false;
  unfinished_.append(bytes.data(), static_cast<std::size_t>(count));
  for (auto end = unfinished_.find('\n'); end != std::string::npos; end = unfinished_.find('\n')) {
    take(unfinished_.substr(0, end));
    unfinished_.erase(0, end + 1);
  }
  return true;
}

void child_process::take(const std::string& line) {
  double fraction = 0, bits = 0;
  if (std::sscanf(line.c_str(), "progress %lf %lf", &fraction, &bits) != 2) {
    said_ += line + '\n';
    return;
  }
  fraction_ = fraction;
  bits_per_byte_ = bits;
  if (first_fraction_ < 0) first_fraction_ = fraction;
}

void child_process::interrupt() const { kill(process_, SIGTERM); }

outcome child_process::wait() {
  int status = 0;
  uninterrupted([&] { return waitpid(process_, &status, 0); });
  process_ = -1;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return outcome::good;
  if (WIFSIGNALED(status)) said_ += "ended by signal " + std::to_string(WTERMSIG(status)) + '\n';
  if (WIFEXITED(status) && said_.empty()) said_ = "exit code " + std::to_string(WEXITSTATUS(status)) + '\n';
  const bool asked_to = WIFSIGNALED(status) ? WTERMSIG(status) == SIGTERM : WEXITSTATUS(status) == 128 + SIGTERM;
  return asked_to ? outcome::interrupted : outcome::bad;
}

}  // namespace experiments
