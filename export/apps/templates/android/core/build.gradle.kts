plugins {
    `java-library`
}

// The language and library of Java 8: every Android that the app supports has them.
tasks.withType<JavaCompile>().configureEach {
    options.release.set(8)
    options.encoding = "UTF-8"
}

dependencies {
    testImplementation("junit:junit:4.13.2")
}
