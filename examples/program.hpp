// What the example programs share: errors as one line and an exit code, checks of options, interruption, printable
// text, a progress bar.
#pragma once

#include <CLI/CLI.hpp>
#include <charconv>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <limits>
#include <numbers>
#include <string>
#include <string_view>
#include <unistd.h>

#include <strata/core/error.hpp>

namespace examples {

inline volatile std::sig_atomic_t interrupted = 0;

/// The first SIGINT or SIGTERM asks for an orderly end, the second ends at once.
inline void catch_interrupts() {
  for (const int signal : {SIGINT, SIGTERM})
    std::signal(signal, [](int number) {
      interrupted = number;
      std::signal(number, SIG_DFL);
    });
}

/// Parses the command line, runs `body` and turns every failure into one line on standard error and exit code 1.
template <class Body>
int run_program(CLI::App& app, int argc, char** argv, Body body) {
  // A file that grows past a limit is an error of the write, not the end of the program.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    app.parse(argc, argv);
    return body();
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem);
  } catch (const std::bad_alloc&) {
    std::cerr << app.get_name() << ": error: out of memory\n";
  } catch (const std::exception& problem) {
    std::cerr << app.get_name() << ": error: " << problem.what() << '\n';
  }
  return 1;
}

/// Accepts whole numbers from `least` to `most`. CLI11 alone takes -1 for a huge number, and cuts off what is too large.
inline CLI::Validator whole_number(std::uint64_t least, std::uint64_t most = 1'000'000'000'000) {
  const auto check = [least, most](const std::string& given) {
    std::uint64_t value = 0;
    const char* const end = given.data() + given.size();
    const auto [stop, problem] = std::from_chars(given.data(), end, value);
    if (problem == std::errc() && stop == end && value >= least && value <= most) return std::string();
    return strata::to_text("expects a whole number from ", least, " to ", most, ", not '", given, "'");
  };
  return {check, ""};
}

/// Accepts finite numbers that `fit`; `expected` says in words what they are.
inline CLI::Validator number(const char* expected, std::function<bool(double)> fit) {
  const auto check = [expected, fit](const std::string& given) {
    char* stop = nullptr;
    const double value = std::strtod(given.c_str(), &stop);
    if (!given.empty() && *stop == '\0' && std::isfinite(value) && fit(value)) return std::string();
    return strata::to_text("expects ", expected, ", not '", given, "'");
  };
  return {check, ""};
}
inline CLI::Validator positive_number(double most = std::numeric_limits<double>::max()) {
  return number("a positive number", [most](double value) { return value > 0 && value <= most; });
}
inline CLI::Validator number_from_0() {
  return number("a number that is not negative", [](double value) { return value >= 0; });
}
inline CLI::Validator number_below_1() {
  return number("a number from 0 to below 1", [](double value) { return value >= 0 && value < 1; });
}

/// A byte as it can be shown on a terminal.
inline char printable(int byte) {
  const bool shows = byte == '\n' || byte == '\t' || (byte >= 32 && byte != 127);
  return shows ? static_cast<char>(byte) : '.';
}

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline double bits(double nats) { return nats / std::numbers::ln2; }

inline std::string fixed(double number, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, number);
  return text;
}

/// "1:05" or "1:02:03"
inline std::string clock_text(double seconds) {
  const long whole = seconds > 0 && seconds < 1e9 ? static_cast<long>(seconds + 0.5) : 0;
  char text[32];
  if (whole >= 3600)
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
  else
    std::snprintf(text, sizeof text, "%ld:%02ld", whole / 60, whole % 60);
  return text;
}

/// A line that is drawn again and again on a terminal, and now and then on anything else.
class progress_bar {
 public:
  progress_bar() : terminal_(isatty(STDERR_FILENO) == 1) {}

  /// `fraction` of the work is done; `seconds` have passed since the start.
  void draw(double fraction, double seconds, const std::string& text) {
    if (seconds - last_ < (terminal_ ? 0.1 : 10) && fraction < 1) return;
    last_ = seconds;
    constexpr int width = 24;
    const int full = static_cast<int>(fraction * width);
    std::string bar = "[" + std::string(static_cast<std::size_t>(full), '#') +
                      std::string(static_cast<std::size_t>(width - full), '.') + "] " + text;
    if (terminal_)
      std::cerr << '\r' << bar << "\x1b[K" << std::flush;
    else
      std::cerr << bar << '\n';
    shown_ = terminal_;
  }
  /// Ends the line that is being drawn, so that other output starts on its own.
  void end_line() {
    if (shown_) std::cerr << '\n';
    shown_ = false;
  }

 private:
  bool terminal_;
  bool shown_ = false;
  double last_ = -1e9;
};

}  // namespace examples
