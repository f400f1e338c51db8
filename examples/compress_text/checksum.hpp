// The checksum of bytes that come in pieces: XXH3, 64 bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace compress_text {

class checksum {
 public:
  explicit checksum(std::uint64_t seed = 0);
  void add(std::span<const std::byte> bytes);
  std::uint64_t sum() const;

 private:
  struct library_state;
  struct deleter {
    void operator()(library_state* state) const;
  };
  std::unique_ptr<library_state, deleter> state_;
};

}  // namespace compress_text
