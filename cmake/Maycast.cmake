# The project's own CMake vocabulary: options, and one function per kind of target.

option(MC_BUILD_TESTS "build the test programs" ON)
option(MC_QUICK_BUILD "optimise less, compile faster: for builds that only check" OFF)
option(MC_UNITY "compile some sources at a time: half the time of a whole build; without, each is seen to stand alone" ON)
option(MC_BUILD_BENCH "build the benchmark programs" OFF)
option(MC_BUILD_FUZZERS "build the libFuzzer targets (clang only)" OFF)
set(MC_SANITIZE "" CACHE STRING "sanitizers for every target, as -fsanitize= takes them")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()
# Not -O3: g++ 12 then warns of overflows in std::string and std::vector that are none, and warnings are errors.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")

# Lines in backtraces, not every variable: half the time of the compiler's back end.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")
if(MC_QUICK_BUILD)
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1 -DNDEBUG")
endif()

find_program(MC_CCACHE ccache)
if(MC_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${MC_CCACHE}")
endif()

add_library(mc_options INTERFACE)
target_compile_options(mc_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
  -Wnon-virtual-dtor -Wold-style-cast -Woverloaded-virtual -Wimplicit-fallthrough -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND (MC_QUICK_BUILD OR MC_SANITIZE))
  # Without full optimisation, or with a sanitizer's code in between, g++ 12 sees uninitialised members in moved variants.
  target_compile_options(mc_options INTERFACE -Wno-maybe-uninitialized)
endif()
target_compile_definitions(mc_options INTERFACE _FILE_OFFSET_BITS=64)
if(MC_SANITIZE)
  target_compile_options(mc_options INTERFACE -fsanitize=${MC_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(mc_options INTERFACE -fsanitize=${MC_SANITIZE})
endif()
if(MC_BUILD_FUZZERS)
  target_compile_options(mc_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# mc_compile_together(TARGET)
function(mc_compile_together target)
  if(MC_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 6)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # A class of a .cpp file that is defined outside of it may have members of a type from its unnamed namespace.
      target_compile_options(${target} PRIVATE -Wno-subobject-linkage)
    endif()
  endif()
endfunction()

# mc_library(NAME sources... LINK public... LINK_PRIVATE private...): the static library of one module.
function(mc_library name)
  cmake_parse_arguments(arg "" "" "LINK;LINK_PRIVATE" ${ARGN})
  add_library(mc_${name} STATIC ${arg_UNPARSED_ARGUMENTS})
  target_include_directories(mc_${name} PUBLIC "${CMAKE_SOURCE_DIR}/lib")
  target_link_libraries(mc_${name} PUBLIC ${arg_LINK} PRIVATE mc_options ${arg_LINK_PRIVATE})
  mc_compile_together(mc_${name})
endfunction()

# mc_tool(NAME sources... LINK libraries...): the program mc-NAME. All but main.cpp is an object library,
# mc_tool_NAME, so that tests call the tool's run function without a process.
function(mc_tool name)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  add_library(mc_tool_${name} STATIC ${arg_UNPARSED_ARGUMENTS})
  target_include_directories(mc_tool_${name} PUBLIC "${CMAKE_SOURCE_DIR}/lib" "${CMAKE_SOURCE_DIR}/tools")
  target_link_libraries(mc_tool_${name} PUBLIC mc_cli ${arg_LINK} PRIVATE mc_options)
  mc_compile_together(mc_tool_${name})
  add_executable(mc-${name} main.cpp)
  target_link_libraries(mc-${name} PRIVATE mc_tool_${name} mc_options)
  install(TARGETS mc-${name} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endfunction()
