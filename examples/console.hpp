// What running programs share: interruption, numbers and bytes as text, a progress bar.
#pragma once

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <numbers>
#include <string>
#include <unistd.h>
#include <vector>

#include <strata/core/view.hpp>

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

/// A text as a terminal can show it.
inline std::string printable(std::string text) {
  for (char& letter : text) {
    const int byte = static_cast<unsigned char>(letter);
    const bool shows = byte == '\n' || byte == '\t' || (byte >= 32 && byte != 127);
    if (!shows) letter = '.';
  }
  return text;
}

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline double bits(double nats) { return nats / std::numbers::ln2; }

/// A number with `digits` digits after the point, whatever the locale.
inline std::string fixed(double number, int digits) {
  char text[400];
  return {text, std::to_chars(text, text + sizeof text, number, std::chars_format::fixed, digits).ptr};
}
/// The shortest text that reads back as the same number.
inline std::string shortest(double number) {
  char text[64];
  return {text, std::to_chars(text, text + sizeof text, number).ptr};
}

/// "1 thread" or "2 threads"
inline std::string counted(long long count, const char* thing) {
  return std::to_string(count) + ' ' + thing + (count == 1 ? "" : "s");
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

/// A line that is drawn again and again on a terminal. Elsewhere it is a new line every 10 seconds.
class progress_bar {
 public:
  progress_bar() : terminal_(isatty(STDERR_FILENO) == 1) {}

  /// `fraction` of the work is done; `seconds` have passed since the start.
  void draw(double fraction, double seconds, const std::string& text) {
    if (seconds - last_ < (terminal_ ? 0.1 : 10) && fraction < 1) return;
    last_ = seconds;
    constexpr std::size_t width = 24;
    const auto full = static_cast<std::size_t>(fraction * width);
    std::string bar(1, '[');
    bar.append(full, '#').append(width - full, '.').append("] ").append(text);
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
