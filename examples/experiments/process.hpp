// Starts this program again for one run: its memory is measured alone, and a crash harms no other run.
#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

#include <strata/io/file.hpp>

namespace experiments {

/// The processors that this process may use.
std::vector<int> allowed_cores();

/// How a process ended. `interrupted`: on request.
enum class outcome { good, interrupted, bad };

class child_process {
 public:
  /// Runs this program with `arguments`, on `cores` only unless that is empty. It ends when this process does.
  child_process(const std::vector<std::string>& arguments, const std::vector<int>& cores);
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;
  ~child_process();

  /// A descriptor to wait for its output.
  int descriptor() const { return output_.number(); }
  /// Reads what it has printed. Returns false at the end.
  bool read();
  /// Asks it to save and to end.
  void interrupt() const;
  /// Waits for its end.
  outcome wait();

  /// The fraction of its run that is done, the fraction that this process did, and the last training loss.
  double fraction() const { return fraction_; }
  double progress() const { return first_fraction_ < 0 ? 0 : fraction_ - first_fraction_; }
  double bits_per_byte() const { return bits_per_byte_; }
  /// All that it printed, without the lines of progress.
  const std::string& said() const { return said_; }

 private:
  void take(const std::string& line);

  pid_t process_ = -1;
  strata::detail::file_descriptor output_;
  std::string unfinished_, said_;
  double fraction_ = 0, first_fraction_ = -1, bits_per_byte_ = 0;
};

}  // namespace experiments
