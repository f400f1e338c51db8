// Runs a piece of a test in a forked process, which may hang or be killed.
#pragma once

#include <chrono>
#include <csignal>
#include <exception>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace support {

/// The text that `body()` returned, or "threw: ..", "signal 11", "hangs".
template <class Body>
std::string in_child(Body body) {
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    std::string said;
    try {
      said = body();
    } catch (const std::exception& problem) {
      said = std::string("threw: ") + problem.what();
    }
    const bool written = ::write(ends[1], said.data(), said.size()) == static_cast<ssize_t>(said.size());
    ::_exit(written ? 0 : 1);
  }
  ::close(ends[1]);
  std::string said;
  int status = 0;
  bool ended = false;
  for (int wait = 0; wait < 60'000 && !ended; ++wait) {
    ended = ::waitpid(child, &status, WNOHANG) == child;
    if (!ended) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  if (!ended) {
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
    said = "hangs";
  } else if (WIFSIGNALED(status)) {
    said = "signal " + std::to_string(WTERMSIG(status));
  } else {
    char text[4096];  // less than a pipe holds
    const ssize_t count = ::read(ends[0], text, sizeof(text));
    if (count > 0) said.assign(text, static_cast<std::size_t>(count));
  }
  ::close(ends[0]);
  return said;
}

}  // namespace support
