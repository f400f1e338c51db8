#include "checksum.hpp"

// The library's functions become part of this file. Its vector code draws warnings, and plain code is fast enough.
#define XXH_INLINE_ALL
#define XXH_VECTOR 0
#include <xxhash.h>

namespace compress_text {

struct checksum::library_state {
  XXH3_state_t of_library;
};
void checksum::deleter::operator()(library_state* state) const { delete state; }

checksum::checksum(std::uint64_t seed) : state_(new library_state()) {
  XXH3_64bits_reset_withSeed(&state_->of_library, seed);
}
void checksum::add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(&state_->of_library, bytes.data(), bytes.size());
}
std::uint64_t checksum::sum() const { return XXH3_64bits_digest(&state_->of_library); }

}  // namespace compress_text
