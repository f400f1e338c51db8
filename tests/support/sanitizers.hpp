// Which sanitizer compiles the tests.
#pragma once

#if defined(__SANITIZE_THREAD__)
#define STRATA_TEST_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STRATA_TEST_THREAD_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define STRATA_TEST_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STRATA_TEST_ADDRESS_SANITIZER 1
#endif
#endif
#define STRATA_TEST_SANITIZER (STRATA_TEST_THREAD_SANITIZER || STRATA_TEST_ADDRESS_SANITIZER)
