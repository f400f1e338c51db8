// This program started again as a process of its own: for one run, so that its memory is its own and its end harms no other.
#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

#include <strata/io/file.hpp>

namespace experiments {

/// The processors that this process may use.
std::vector<int> allowed_cores();

/// How a process ended; `interrupted` as it was asked to.
enum class outcome { good, interrupted, bad };

class child_process {
 public:
  /// Runs this program with `arguments`, on `cores` alone unless there are none. It ends with this process.
  child_process(const std::vector<std::string>& arguments, const std::vector<int>& cores);
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;
  ~child_process();

  /// What it prints can be waited for here.
  int descriptor() const { return output_.number(); }
  /// Takes in what it has printed; false once that is all.
  bool read();
  /// Asks it to save and end.
  void interrupt() const;
  /// Waits for its end.
  outcome wait();

  /// Of its run: how much is done, how much was when it began, and the last training loss.
  double fraction() const { return fraction_; }
  double progress() const { return first_fraction_ < 0 ? 0 : fraction_ - first_fraction_; }
  double bits_per_byte() const { return bits_per_byte_; }
  /// All that it printed but progress.
  const std::string& said() const { return said_; }

 private:
  void take(const std::string& line);

  pid_t process_ = -1;
  strata::detail::file_descriptor output_;
  std::string unfinished_, said_;
  double fraction_ = 0, first_fraction_ = -1, bits_per_byte_ = 0;
};

}  // namespace experiments
