// Compresses a file and gives it back.
#pragma once

#include <string>

namespace compress_text {

struct program_options {
  std::string input, output;  // "-": standard input or output
  std::string size = "default";
  int threads = 0;
  bool overwrite = false;
};

/// Return the exit code of the program: 0, or 128 and the signal that ended it.
int compress(const program_options& options);
int restore(const program_options& options);

}  // namespace compress_text
